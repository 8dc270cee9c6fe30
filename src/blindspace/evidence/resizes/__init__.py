"""The resize in front of a network: exposure, detection of images made for one, and cleaning."""
