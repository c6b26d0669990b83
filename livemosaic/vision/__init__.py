"""People in pictures: where they are, and their faces."""
