"""The trained model: manifest, weights, TorchScript, licence."""
