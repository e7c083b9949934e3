"""What other people's programs call; ``import reskd`` gives these names.

For other folders: load_student and Student, for the command predict.
"""
