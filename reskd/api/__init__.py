"""What other people's programs call; ``import reskd`` gives these names.

For other folders: nothing here is imported by the rest of the project.
"""
