"""The Debug Adapter Protocol 1.71 as msgspec Structs. Import the module that holds a name; here is nothing."""
