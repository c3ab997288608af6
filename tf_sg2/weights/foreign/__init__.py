"""Networks of other programs: their files as arrays by official PyTorch names, and back.

read         a file of any known kind -> arrays and a configuration
torch        pickles of the official PyTorch releases
tensorflow   pickles of the official TensorFlow 1 releases
rosinality   checkpoints of rosinality/stylegan2-pytorch, in both directions
"""
