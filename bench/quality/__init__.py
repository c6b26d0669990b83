"""How good the mosaics look, in figures and side by side, against the programs to beat."""
