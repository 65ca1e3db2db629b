# needs: perl
# group: files
start
perl -e 'for (1 .. 100000) { open F, ">", "f$_" or die; close F }
         opendir D, "." or die; while (defined($_ = readdir D)) { lstat or die }
         for (1 .. 100000) { unlink "f$_" or die }'
stop
