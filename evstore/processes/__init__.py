"""The programs that evstore starts, watches and ends: kernels, terminals, clusters and converters."""
