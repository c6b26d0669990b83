"""Photos that join while it runs: uploads of guests until the host decides, and a list of all."""
