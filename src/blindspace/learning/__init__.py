"""Learning from adversarial perturbations: the theory, data sets of perturbed samples, training on them, controls."""
