"""What a network is made of: layers, shapes, parameters and multiply-adds."""
