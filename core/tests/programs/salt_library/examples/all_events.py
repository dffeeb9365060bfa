import salt.utils.event
event = salt.utils.event.MasterEvent('/var/run/salt')
for data in event.iter_events(tag='auth'):
    print(data)
