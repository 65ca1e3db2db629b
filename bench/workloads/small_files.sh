# needs: perl
# group: files
start
perl -e 'for (1 .. 5000) { open F, ">", "f$_"; print F "x" x 1000; close F; unlink "f" . ($_ - 100) if $_ > 100 }'
stop
