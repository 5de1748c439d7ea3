"""Looks at all files of a data set before training does, and says what is wrong with them.

``subject`` finds the files, ``look`` reads one, ``scan`` all of them, ``rules`` and ``duplicates`` draw conclusions,
``report`` writes them down.
"""
