"""Turns a trained Keras model into ONNX files, FP32 and INT8, and proves that they answer alike."""
