"""Trains a Keras ResNet50 on folders of images, one folder for each class."""
