"""What tells a generated picture from a photo, and what keeps some pictures from being shown."""
