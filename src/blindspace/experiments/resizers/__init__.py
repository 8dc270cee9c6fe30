"""Beyond the paper: the resizes of libraries as linear maps, compared with the libraries themselves."""
