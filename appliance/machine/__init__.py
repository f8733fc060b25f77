"""The machine: its accounts, folders, browsers and firewall, and the processes of the appliance on it."""
