"""Model files: TorchScript, AOTInductor, ONNX, published checkpoints."""
