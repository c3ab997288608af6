"""The eyes: networks that turn images into features, and the files their weights come from."""
