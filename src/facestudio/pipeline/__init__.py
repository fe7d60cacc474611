"""The one place that knows all parts: photos, words and a style picture in, portraits out."""
