"""Trains a Keras ResNet50 on folders of pictures, one folder for each class."""
