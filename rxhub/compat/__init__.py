"""What stands in the place of other libraries: each module has the interface of one."""
