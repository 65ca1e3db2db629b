# needs: findutils
# group: files
for ((i = 0; i < 200; i++)); do mkdir d$i; (cd d$i && for ((j = 0; j < 100; j++)); do : > f$j; done); done
find . -size +1 > list
start
find . -size +1 > list
stop
