"""The network: ResNet50, features, familiarity, temperature, devices."""
