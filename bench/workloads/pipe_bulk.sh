# needs: coreutils
# group: channels
start
dd if=/dev/zero bs=64k count=16384 status=none | dd of=/dev/null bs=64k status=none
stop
