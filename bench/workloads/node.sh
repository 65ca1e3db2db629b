# needs: nodejs
# group: processes
start
for ((i = 0; i < 3; i++)); do node -e 'require("http"); require("crypto")'; done
stop
