"""The experiment behind lfp-mnist, lfp-fashion and lfp-cifar10: what networks learn from mislabelled images."""
