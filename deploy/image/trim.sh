#!/bin/sh
# Removes from the virtual environment $1 what serving, indexing and training never open.
set -eu
packages=$(echo "$1"/lib/python3*/site-packages)

# tests, headers and sources that wheels ship with
find "$packages" -type d -name tests ! -path '*/torch/*' -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyx' -o -name '*.pxi' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.a' \) -delete
rm -rf "$packages"/pyarrow/include "$packages"/pyarrow/src

# Arrow's clients of services that Saddle does not ask, and second copies of its libraries
cd "$packages"/pyarrow
rm -f libarrow_flight.so.* libarrow_python_flight.so* _flight.* libarrow_s3.so.* _s3fs.* _pyarrow_cpp_tests.* \
    libarrow_python*.so libarrow_python*.so.*.*
