"""The page: steps a person follows from a photo to portraits, for those without a terminal."""
