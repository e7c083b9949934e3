"""The fused loss against eager PyTorch, torch.compile and a plain copy."""
