# needs: python3
# group: processes
python3 -c 'import ssl, asyncio, json'
start
for ((i = 0; i < 5; i++)); do python3 -c 'import ssl, asyncio, json'; done
stop
