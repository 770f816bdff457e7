"""What programs send is classified: our own API, DeepStack's, and the Open Inference Protocol."""
