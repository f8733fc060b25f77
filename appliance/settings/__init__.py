"""The settings by their subjects; `config` makes one class of them and reads it. Nothing here asks the machine."""
