"""What the family `pretrained` is made of: a model's files, its encoder, what it is fed with."""
