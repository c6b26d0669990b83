"""The basis of pictures and streams: frames, colours, FFmpeg, addresses and text; no policy."""
