"""Vision backbones: how images become features."""
