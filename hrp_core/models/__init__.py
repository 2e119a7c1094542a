"""What scores the universe: factors now, trained models from the registry next to them."""
