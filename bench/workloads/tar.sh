# needs: tar
# group: files
mkdir tree
for ((i = 0; i < 100; i++)); do mkdir tree/d$i; (cd tree/d$i && for ((j = 0; j < 20; j++)); do printf '%1000d' $j > f$j; done); done
start
tar cf tree.tar tree
mkdir out
tar xf tree.tar -C out
stop
