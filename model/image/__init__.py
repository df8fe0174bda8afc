"""The image channel: product photographs as points, learnt with proxies at every level of a class tree (HPL)."""
