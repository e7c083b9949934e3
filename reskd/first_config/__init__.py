"""``reskd init``: look at a folder of videos and write the config of a first run on it.

For other folders:
    config_text: first_config, Machine, name_of
    folder_facts: FolderFacts, look_into
"""
