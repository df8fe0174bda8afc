"""The behaviour channel (DCAH): what shoppers clicked together, as vectors beside those of the text.

Two graphs over queries and products, clicks and sessions, become two channels of one network; attention mixes them for
each node, and the score is a dot product. What serving needs of it is in :mod:`model.behaviour.bundle` and
:mod:`model.behaviour.vectors`, without torch.
"""
