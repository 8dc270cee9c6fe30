"""Names of data sets and of kinds of classifiers in tables."""

DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
KINDS = {"mlp": "MLP", "convnet": "ConvNet", "resnet20": "ResNet-20"}
