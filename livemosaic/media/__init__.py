"""What a picture and a stream are: frames, colours, FFmpeg, addresses and text; no policy."""
