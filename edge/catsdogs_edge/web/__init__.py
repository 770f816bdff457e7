"""A live page, an HTTP API, metrics, and the model for the visitor's browser."""
