# needs: coreutils
# group: files
start
dd if=/dev/zero of=big bs=1M count=256 status=none
dd if=big of=/dev/null bs=1M status=none
stop
