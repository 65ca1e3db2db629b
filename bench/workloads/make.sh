# needs: make gcc
# group: builds
for ((i = 0; i < 200; i++)); do
  printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%d(int x) { char b[64]; snprintf(b, 64, "%%d", x * %d); return atoi(b) + (int)strlen(b); }\n' $i $i > f$i.c
done
printf 'all: $(patsubst %%.c,%%.o,$(wildcard *.c))\n' > Makefile
start
make -s -j2 CFLAGS=-O2
stop
