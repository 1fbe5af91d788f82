"""The services: what clients ask of evstore, without HTTP."""
