"""Layers that Keras lacks, or has by another definition; they import Keras: only after `runtime.start`."""
