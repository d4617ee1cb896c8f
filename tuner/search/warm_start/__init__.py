"""Learning from earlier studies: what `learn_from` in a study file takes from them.

`past_study` is a past study in few numbers, as it is stored beside the study that learns. `mapping`
brings its trials into another study's space. `models` fits a model to each past study, and weighs
it by how well it ranks the other study's trials. `portfolio` chooses the few past configurations
that the other study tries first.
"""
