# needs: nginx-light wrk
# group: servers
mkdir logs www
head -c 1000 /dev/zero > www/index.html
cat > conf <<C
user root; daemon off; master_process off; pid $PWD/pid; error_log $PWD/logs/error;
events { worker_connections 256; }
http { access_log off; client_body_temp_path $PWD/a; proxy_temp_path $PWD/b; fastcgi_temp_path $PWD/c;
  uwsgi_temp_path $PWD/d; scgi_temp_path $PWD/e;
  server { listen 127.0.0.1:18080; root $PWD/www; } }
C
nginx -c "$PWD/conf" &
until (exec 3<> /dev/tcp/127.0.0.1/18080) 2> /dev/null; do kill -0 %1; done
wrk -t1 -c20 -d2 http://127.0.0.1:18080/ > result
kill %1
wait || true
# Milliseconds for 10,000 requests.
awk '/Requests\/sec/ && $2 > 0 { printf "ms %.3f\n", 1e7 / $2 }' result
